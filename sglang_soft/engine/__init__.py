"""The decode step: `inputs` (what a forward needs), `embedding` (mix), `step` (next concept),
`pool` (device state by row), `request` (the host's record)."""
