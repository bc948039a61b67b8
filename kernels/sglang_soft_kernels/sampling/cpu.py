"""Soft sampling as a compiled loop; `naive` is the specification."""

import math

import numpy as np
import torch

from ..compiled import compiled, index_array
from .naive import SoftSample, Unfiltered

MAX_INSERTED = 128
"""Candidates that are found by insertion; for more the whole row is sorted."""


@compiled
def sample_loop(
    z, temperature, top_k, top_p, min_p, num_candidates, index, W, ids, weights, entropy, max_prob,
    top_ids, ratios, entropy_1,
):  # fmt: skip
    k_out, m = ids.shape[1], top_ids.shape[1]
    e = np.empty(W, np.float32)  # the largest logits in order, then their e
    token = np.empty(W, np.int32)
    for a in range(ids.shape[0]):
        row, T = z[index[a]] if index.size > 0 else z[a], temperature[a]
        every = top_k[a] > W  # off, or the whole vocabulary
        own = min(num_candidates[a] if every else top_k[a], W)
        need = max(own, m)
        count = 0
        if W > MAX_INSERTED:
            order = np.argsort(-row, kind="mergesort")  # stable
            count = need
            for k in range(count):
                token[k], e[k] = order[k], row[order[k]]
        else:
            for i in range(row.size):
                x = row[i]
                if count < need:
                    at = count
                    count += 1
                elif x > e[need - 1]:
                    at = need - 1
                else:
                    continue
                # Only smaller ones move: among equals the smaller id, which came first, stays in
                # front.
                while at > 0 and e[at - 1] < x:
                    e[at], token[at] = e[at - 1], token[at - 1]
                    at -= 1
                e[at], token[at] = x, i

        largest = e[0]
        Z, S = 0.0, 0.0
        for i in range(row.size):
            x = (row[i] - largest) / T
            if x > np.float32(-104.0):  # below it exp is 0
                p = math.exp(x)
                Z += p
                S += p * x
        entropy[a] = math.log(Z) - S / Z
        max_prob[a] = 1 / Z

        if m > 0:
            Z1, S1 = 0.0, 0.0
            for i in range(row.size):
                x = row[i] - largest
                if x > np.float32(-104.0):
                    p = math.exp(x)
                    Z1 += p
                    S1 += p * x
            entropy_1[a] = math.log(Z1) - S1 / Z1
            for k in range(m):
                top_ids[a, k], ratios[a, k] = token[k], math.exp(e[k] - largest)

        count = min(count, own)
        total = 0.0
        for k in range(count):
            e[k] = math.exp((e[k] - largest) / T)
            total += e[k]
        limit = top_p[a] * (Z if every else total)
        kept = 0.0
        for k in range(k_out):
            if k < min(num_candidates[a], count) and e[k] >= min_p[a] and kept <= limit:
                ids[a, k], weights[a, k] = token[k], e[k]
                kept += e[k]
            else:
                ids[a, k], weights[a, k] = token[0], 0.0
        for k in range(k_out):
            weights[a, k] /= kept


def soft_sample(
    logits, temperature, top_k, top_p, min_p, num_candidates, *, k, top_k_bound=None, index=None,
    unfiltered=0,
):  # fmt: skip
    V, A = logits.shape[1], len(temperature)
    W = V if top_k_bound is None else min(V, max(k, top_k_bound))
    ids, weights = torch.empty((A, k), dtype=torch.int32), torch.empty((A, k))
    at_one = Unfiltered(
        torch.empty((A, unfiltered), dtype=torch.int32),
        torch.empty((A, unfiltered)),
        torch.empty(A),
    )
    sample = SoftSample(ids, weights, torch.empty(A), torch.empty(A))
    parameters = (x.numpy() for x in (temperature, top_k, top_p, min_p, num_candidates))
    outputs = (x.numpy() for x in (*sample[:4], *at_one))
    sample_loop(logits.float().numpy(), *parameters, index_array(index), W, *outputs)
    return sample._replace(unfiltered=at_one) if unfiltered else sample
