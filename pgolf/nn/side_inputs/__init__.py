"""Side input variants: tensors computed from token ids and added at a site of the trunk."""
