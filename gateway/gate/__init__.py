"""What one message means: facts, decision, answer, sessions. Between the registries and the pipeline."""
