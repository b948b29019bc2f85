"""The code that is specific to one provider. No I/O."""
