"""Programs in SGLang's frontend language that think softly, on the bundled model's arithmetic."""
