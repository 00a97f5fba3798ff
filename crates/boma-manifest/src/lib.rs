//! What users write: kinds, identity, parsing with positions, validation, schema.
