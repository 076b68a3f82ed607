"""An own stacks-node as a source: what its event observer posts and what its RPC answers."""
