"""Step 4: where a model runs, as plain data that can be shown, compared and applied."""
