"""Control at run time: what is paused or limited, from documents of `system_settings` to the gate of the roles."""
