"""Evaluations of Soft Thinking that treat every method alike: same questions, samples, sampling,
grader and judge.

Reading order: `benchmarks` and `loading` (what is asked), `graders` (what counts as right),
`config` (what a run is), `sample`, `client` and `run` (asking), `records` (what survives a kill),
`statistics` and `report` (what follows).
"""
