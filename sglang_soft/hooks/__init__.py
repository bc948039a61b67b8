"""Hooks on SGLang, one module for each SGLang class touched. The ledger of them all is
`sglang_soft.ledger`."""
