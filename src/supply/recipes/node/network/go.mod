module vadev.local/node-network

go 1.24.0
