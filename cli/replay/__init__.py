"""`bluetick replay`: its options, plan, run and report."""
