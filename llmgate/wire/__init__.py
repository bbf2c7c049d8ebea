"""One file per client dialect: JSON bodies ↔ the values of `llmgate.types`, both directions."""
