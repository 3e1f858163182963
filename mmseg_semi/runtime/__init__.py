"""The edge to MMEngine and the OpenMMLab stack."""
