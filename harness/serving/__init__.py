"""A router behind an endpoint that speaks OpenAI's API: ``mixroute serve``. Specification: docs/serving.md."""
