# No provider is needed here: what this module knows can be tested anywhere.

terraform {
  required_version = ">= 1.7"
}
