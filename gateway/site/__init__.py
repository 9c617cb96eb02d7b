"""What people see: pages for welders, firms, regulators and those who run the gateway. Rendered here, no bundler."""
