//! Catalog and observed state make a plan; the plan is run.
