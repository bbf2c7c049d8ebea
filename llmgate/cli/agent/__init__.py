"""The terminal of an agent: `llmgate chat`, but for `--no-agent`."""
