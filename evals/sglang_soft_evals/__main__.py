from sglang_soft_evals.cli import main

main()
