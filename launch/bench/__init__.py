"""What Soft Thinking costs: `cpu` with the bundled model, `gpu` at the shapes of real models."""
