//! unskew
