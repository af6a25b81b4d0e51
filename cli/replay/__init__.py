"""`bluetick replay`: what is asked for, its plan, its run, and what came of it."""
