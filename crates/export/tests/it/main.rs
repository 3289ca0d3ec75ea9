//! Exports against the model, against GNU tar, and against what may go wrong.

mod damage;
mod directory;
mod hostile;
mod output;
mod prebaked;
mod reflink;
mod roots;
mod tar;
mod unprivileged;
