//! Berth's wire and stored messages, their conversions and golden bytes.
