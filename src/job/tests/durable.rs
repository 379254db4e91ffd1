//! What only a store in a file can show.

use super::*;
