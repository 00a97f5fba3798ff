//! Settings that follow from CPU, memory and version; settings that belong to the platform.
