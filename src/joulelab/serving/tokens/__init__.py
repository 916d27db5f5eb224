"""Load on servers of language models: prompts, streamed answers, tokens and their times."""
