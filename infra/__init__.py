"""The CDK stack, the builder of its layers, the suite on a laptop (`local`) and the operator's command line (`cli`)."""
