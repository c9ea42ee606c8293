"""How true the answers are: precision and yield on photos with known truth."""
