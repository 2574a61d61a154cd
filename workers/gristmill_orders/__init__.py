"""A complete order-processing service on gristmill."""
