//! lsyncd with rsync between two hosts, as used to copy assets from one boot server to the other.
