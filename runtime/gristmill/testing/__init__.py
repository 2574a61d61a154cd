"""What tests of programs that use gristmill can use."""
