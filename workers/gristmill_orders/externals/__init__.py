"""The world outside: the payment gateway and the carriers, as interfaces and as simulators."""
