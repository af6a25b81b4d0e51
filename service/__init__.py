"""What every process of ours needs: settings, errors, logging, child processes, files."""
