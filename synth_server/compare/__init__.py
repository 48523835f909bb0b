"""Which network's layers see images as the recorded sites do: predictivity, CKA and RSA over depth."""
