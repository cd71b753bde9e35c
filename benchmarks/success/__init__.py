"""How often experts and shipped policies succeed: certificates, published rates, and tables of batteries."""
