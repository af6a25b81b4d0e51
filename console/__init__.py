"""The console: pages, a JSON API and the read model behind them."""
