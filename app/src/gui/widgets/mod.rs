//! Charts, tables and controls that know nothing of the application.
