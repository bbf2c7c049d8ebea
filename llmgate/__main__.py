"""`python -m llmgate`."""

from llmgate.cli import main

if __name__ == "__main__":
    main()
