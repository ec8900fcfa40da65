"""What a planned test can tell, costs and risks."""
