"""What .ci/docs is made of."""
