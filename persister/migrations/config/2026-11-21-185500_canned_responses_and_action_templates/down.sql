DROP TABLE action_templates, canned_responses;
