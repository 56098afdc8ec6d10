module vadev.local/kubernetes-targets

go 1.24.0
