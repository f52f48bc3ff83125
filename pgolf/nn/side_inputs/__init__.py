"""Side inputs: tensors made from token ids and added at a site of the trunk."""
