"""MQTT, bytes only: knows topics of nobody and decisions of nobody."""
