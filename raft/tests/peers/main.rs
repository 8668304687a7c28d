//! Several nodes in one process, over real TLS on loopback: they grow, agree, lose one another and go on.

mod grow;
mod lose;
mod rescue;
mod site;
mod strangers;
