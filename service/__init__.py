"""Code that every Bluetick process needs: settings, errors, logging, child processes, files."""
