module github.com/sickbay-dev/sickbay/images/crio

go 1.26.0
