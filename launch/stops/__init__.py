"""Stop rules, their controls, and every rule with several methods (`make stops`)."""
