"""Small, strict, real HTTP servers that play Slack and Discord for the tests and the demo."""
